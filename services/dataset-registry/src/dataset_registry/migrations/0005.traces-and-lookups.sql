-- A review and an action go on in the trace of the event that asked for them, however long people take.

ALTER TABLE reviews ADD COLUMN traceparent text;
ALTER TABLE actions ADD COLUMN traceparent text;

-- Every list of the API is read along an index, whichever filter is set.

CREATE INDEX captures_by_part ON captures ((context->>'part_id'), received_at DESC, capture_id DESC)
    WHERE context->>'part_id' IS NOT NULL;
CREATE INDEX reviews_by_due ON reviews (due_at, review_id);
CREATE INDEX actions_by_due ON actions (due_at, action_id);
CREATE INDEX labels_by_class ON labels (class_name, approved_at DESC, label_id DESC);
CREATE INDEX command_answers_by_time ON command_answers USING brin (answered_at);
