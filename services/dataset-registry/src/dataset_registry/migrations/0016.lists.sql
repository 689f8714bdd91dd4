-- Every list of the API finds what a filter leaves along an index, also where that is little and long past.

CREATE INDEX captures_by_line ON captures (line, received_at DESC, capture_id DESC);
CREATE INDEX labels_by_line ON labels (line, approved_at DESC, label_id DESC);
CREATE INDEX labels_by_station ON labels (line, station, approved_at DESC, label_id DESC);
CREATE INDEX reviews_by_line ON reviews (line, due_at, review_id);
CREATE INDEX actions_by_line ON actions (line, due_at, action_id);
CREATE INDEX images_by_line ON images ((context->>'line'), added_at DESC, image_id DESC);
CREATE INDEX images_by_part_number ON images ((context->>'part_number'), added_at DESC, image_id DESC);
CREATE INDEX images_by_origin ON images (origin, added_at DESC, image_id DESC);
CREATE INDEX images_by_segment ON images (segment, added_at DESC, image_id DESC) WHERE segment IS NOT NULL;
CREATE INDEX audit_entries_by_action ON audit_entries (action, at DESC, sequence DESC);

-- What was ever said of a class, of the whole image or of a mark on it.
CREATE INDEX annotations_by_class ON annotations USING gin (classes);
CREATE INDEX annotations_by_class_of_mark
    ON annotations USING gin (jsonb_path_query_array(shapes, '$[*].class_name') jsonb_path_ops);
