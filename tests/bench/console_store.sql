-- A plant's store after three months: what tests/bench/console_store.py fills a registry's own schema with.
--
-- `bench.captures` says how many captures, `pictures` has their images. All spreads come from hashes of numbers, so each
-- run has the same store, but for its times, which end now. What a filter asks for is common, rare, or long past:
-- line-d ran only in the first fortnight.

CREATE FUNCTION pg_temp.share(n bigint, salt bigint) RETURNS double precision LANGUAGE sql IMMUTABLE AS
    $$ SELECT (hashint8extended(n, salt) & 1048575) / 1048576.0::double precision $$;

CREATE FUNCTION pg_temp.id(kind text, n bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$ SELECT md5(kind || ' ' || n)::uuid $$;

CREATE FUNCTION pg_temp.person(n double precision) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT 'person-' || lpad((1 + floor(n)::bigint % 50)::text, 2, '0') $$;

CREATE FUNCTION pg_temp.boxes(n bigint, class_name text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN class_name = 'good' THEN '[]' ELSE (
        SELECT jsonb_agg(jsonb_build_object('shape_id', 's' || i, 'class_name', class_name, 'kind', 'box',
            'box', jsonb_build_array(round(900 * pg_temp.share(n, 30 + i)), round(700 * pg_temp.share(n, 40 + i)), 80, 45),
            'instance', NULL, 'origin', 'person', 'confirmed', true,
            'measurements', jsonb_build_object('width_px', 80, 'height_px', 45)))
        FROM generate_series(1, 1 + n % 2) AS i) END
$$;

-- Number 1 is the last capture; each part passes two stations.
CREATE TEMP TABLE made AS
SELECT n, pg_temp.id('capture', n) AS capture_id, now() - n * (interval '90 days' / captures) AS at,
       CASE WHEN n > captures * 0.85 AND pg_temp.share(n, 0) < 0.03 THEN 'line-d'
            WHEN pg_temp.share(n, 1) < 0.5 THEN 'line-a'
            WHEN pg_temp.share(n, 1) < 0.85 THEN 'line-b' ELSE 'line-c' END AS line,
       'cell-' || 1 + floor(5 * pg_temp.share(n, 2)) AS station,
       CASE WHEN dice < 0.86 THEN 'pass' WHEN dice < 0.93 THEN 'reject' WHEN dice < 0.945 THEN 'rework'
            WHEN dice < 0.949 THEN 'hold' WHEN dice < 0.999 THEN 'route-to-reviewer'
            ELSE 'escalate-to-engineering' END AS kind,
       CASE WHEN pg_temp.share(n, 4) < 0.8 THEN 'good'
            ELSE (ARRAY['scratch', 'scratch', 'scratch', 'dent', 'dent', 'crack', 'stain', 'rare-flaw'])[
                1 + floor(7.02 * pg_temp.share(n, 5))] END AS class_name,
       p.image
FROM (SELECT n, pg_temp.share(n, 3) AS dice, current_setting('bench.captures')::bigint AS captures
      FROM generate_series(1, current_setting('bench.captures')::bigint) AS n) AS numbered
JOIN pictures p ON p.number = n % (SELECT count(*) FROM pictures);

ALTER TABLE made ADD context jsonb;
UPDATE made SET context = jsonb_build_object('line', line, 'station', station, 'camera', 'camera-' || n % 2,
    'part_number', '8-' || 100 + n % 12, 'part_id', 'part-' || n / 2, 'product_variant', 'v' || n % 3, 'batch',
    'batch-' || n / 500, 'shift', (ARRAY['early', 'late', 'night'])[1 + n / 370 % 3], 'operator', NULL, 'supplier',
    's' || n % 4, 'material', 'steel', 'origin', 'production', 'capture_standard_version', '1');
CREATE INDEX ON made (n);
ANALYZE made;

-- --- what the line saw

INSERT INTO captures (capture_id, line, station, context, image, missing, received_via, captured_at, received_at,
                      revision, kind)
SELECT capture_id, line, station, context, image, CASE WHEN n % 50 = 0 THEN '{operator}' ELSE '{}' END::text[], 'http',
       at, at + interval '80 milliseconds', 1 + (kind = 'route-to-reviewer' AND n > 1000)::integer,
       CASE WHEN kind = 'route-to-reviewer' AND n > 1000 THEN 'pass' ELSE kind END
FROM made ORDER BY n DESC;

INSERT INTO dispositions (disposition_id, capture_id, revision, kind, reasons, severity, class_name, decided_by,
                          evidence, decided_at, latency_ms)
SELECT pg_temp.id('disposition ' || revision, n), capture_id, revision,
       CASE WHEN revision = 2 THEN 'pass' ELSE kind END, CASE WHEN revision = 2 THEN '{reviewed}' ELSE '{confident}' END::text[],
       CASE WHEN class_name <> 'good' THEN 'major' END, nullif(class_name, 'good'),
       CASE WHEN revision = 2 THEN 'person:' || pg_temp.person(n) ELSE 'policy' END,
       jsonb_build_object('audit_verdict', CASE WHEN n % 400 = 0 THEN 'ambiguous' ELSE 'accepted' END,
           'audit_reasons', '[]'::jsonb, 'model_release', CASE WHEN revision = 1 THEN 'release-1' END,
           'predicted_class', class_name, 'defect_score', pg_temp.share(n, 6), 'scores', jsonb_build_object(
               'good', 1 - pg_temp.share(n, 6), 'scratch', pg_temp.share(n, 6)), 'heat_map', NULL, 'regions', '[]'::jsonb,
           'policy_version', 'p1', 'causes', '[]'::jsonb),
       at + revision * interval '2 minutes', 85
FROM made CROSS JOIN LATERAL generate_series(1, 1 + (kind = 'route-to-reviewer' AND n > 1000)::integer) AS revision
ORDER BY n DESC;

INSERT INTO tallies (resolution, period, line, station, measure, count)
SELECT 'total', 'epoch', line, station, measure, n FROM (
    SELECT line, station, 'captured' AS measure, count(*) AS n FROM made GROUP BY 1, 2
    UNION ALL SELECT line, station, 'decided', count(*) FROM made GROUP BY 1, 2
    UNION ALL SELECT line, station, 'standing:' || kind, count(*) FROM made GROUP BY 1, 2, kind
    UNION ALL SELECT line, station, 'latency:0' || 40 + l, 100 FROM (SELECT DISTINCT line, station FROM made) AS s,
        generate_series(1, 30) AS l) AS counted;
INSERT INTO tallies (resolution, period, line, station, measure, count)
SELECT 'minute', date_trunc('minute', now()) - m * interval '1 minute', line, station, measure, 3
FROM (SELECT DISTINCT line, station FROM made) AS s, generate_series(0, 179) AS m,
     unnest(ARRAY['captured', 'decided', 'standing:pass', 'standing:reject', 'latency:048', 'latency:050', 'latency:052'])
         AS measure;

INSERT INTO findings (finding_id, kind, capture_id, line, station, class_name, reported_by, found_at, received_at)
SELECT pg_temp.id('finding', n), 'escape', capture_id, line, station, class_name, 'final test', at, at
FROM made WHERE n % 200 = 0;

INSERT INTO signals (signal_id, kind, scope, window_start, window_end, measured, expected, threshold, unit, sample_size,
                     evidence, suspected_cause, explanation, raised_at)
SELECT pg_temp.id('signal', n), 'false-reject-spike', jsonb_build_object('line', line, 'station', station,
           'product_variant', NULL, 'class_name', 'scratch'), at - interval '5 minutes', at, 0.2, 0.03, 0.1, 'share', 60,
       ARRAY[capture_id::text], 'threshold', '20 % of the rejects were good parts.', at
FROM made WHERE n % 100 = 0;
INSERT INTO actions (action_id, signal_id, kind, title, line, station, owner, due_at, opened_at, state, outcome, note,
                     closed_by, closed_at)
SELECT pg_temp.id('action', n), pg_temp.id('signal', n), CASE WHEN n % 300 = 0 THEN 'investigate' ELSE 'add-good-examples'
           END, 'Add good examples', line, station, 'data-lead', at + interval '2 days', at,
       CASE WHEN n > 12000 THEN 'closed' ELSE 'open' END, CASE WHEN n > 12000 THEN 'done' END,
       CASE WHEN n > 12000 THEN 'added' END, CASE WHEN n > 12000 THEN 'dana' END, CASE WHEN n > 12000 THEN at END
FROM made WHERE n % 100 = 0;

-- --- reviews

INSERT INTO reviews (review_id, disposition_id, capture_id, line, station, context, image, reasons, proposed_class,
                     defect_score, answers_wanted, answers_given, state, due_at, requested_at, captured_at, verdict,
                     class_name, agreed, decided_by, completed_at)
SELECT pg_temp.id('review', n), pg_temp.id('disposition 1', n), capture_id, line, station, context, image, '{uncertain}',
       nullif(class_name, 'good'), pg_temp.share(n, 6), wanted, CASE state WHEN 'open' THEN 0 ELSE wanted END, state,
       at + interval '10 minutes', at, at,
       CASE WHEN state = 'completed' THEN CASE class_name WHEN 'good' THEN 'good' ELSE 'defect' END END,
       CASE WHEN state = 'completed' THEN nullif(class_name, 'good') END, CASE WHEN state = 'completed' THEN n % 9 <> 0 END,
       CASE WHEN state = 'completed' THEN pg_temp.person(n) END, CASE WHEN state = 'completed' THEN at + interval '1 hour' END
FROM (SELECT *, CASE WHEN pg_temp.share(n, 7) < 0.2 THEN 2 ELSE 1 END AS wanted,
             CASE WHEN pg_temp.share(n, 7) < 0.01 THEN 'disputed' WHEN n > 8000 THEN 'completed' ELSE 'open' END AS state
      FROM made WHERE kind = 'route-to-reviewer') AS routed;
INSERT INTO answers (review_id, reviewer, verdict, class_name, answered_at)
SELECT review_id, pg_temp.person(number + 17 * place),
       CASE WHEN place = 2 AND (state = 'disputed' OR NOT agreed) OR proposed_class IS NULL THEN 'good' ELSE 'defect' END,
       CASE WHEN place = 2 AND (state = 'disputed' OR NOT agreed) THEN NULL ELSE proposed_class END, requested_at
FROM (SELECT *, row_number() OVER () AS number FROM reviews) AS r, generate_series(1, r.answers_given) AS place;

-- --- the labeling room: each image was labeled in one batch, and labeled again in another

INSERT INTO images (image_id, origin, name, object, width, height, context, part_id, mm_per_pixel, captured_at,
                    perceptual_hash, segment, added_at, added_by)
SELECT capture_id, 'capture', line || '/' || station || '/' || capture_id, image->'object',
       (image->>'width')::integer, (image->>'height')::integer, context, context->>'part_id', 0.05, at,
       hashint8extended(n, 9), CASE WHEN n > 90000 AND n % 500 = 0 THEN 'edge-case' END, at + interval '30 minutes', 'dana'
FROM made ORDER BY n DESC;
INSERT INTO images (image_id, origin, name, object, width, height, context, captured_at, perceptual_hash, added_at, added_by)
SELECT pg_temp.id('import', n), 'import', 'picture-' || n || '.png', image->'object', (image->>'width')::integer,
       (image->>'height')::integer, '{}', at, hashint8extended(n, 10), now() - interval '89 days', 'dana'
FROM made WHERE n % 50 = 0;

INSERT INTO batches (batch_id, name, mode, answers_wanted, people, review, taxonomy_version, purpose, created_by,
                     created_at, closed_at)
SELECT pg_temp.id('batch', n), 'Batch ' || n, CASE WHEN n = 40 THEN 'consensus' ELSE 'single' END,
       CASE WHEN n = 40 THEN 2 ELSE 1 END, '{}', CASE WHEN n >= 50 THEN '{"plan": "fraction", "fraction": 0.2}'
       ELSE '{"plan": "full"}' END::jsonb, 't1', 'bench', 'dana', now() - (100 - n) * interval '20 hours',
       CASE WHEN n < 40 THEN now() - (60 - n) * interval '1 day' END
FROM generate_series(0, 59) AS n;
INSERT INTO lots (batch_id, lot, size, sample_size, accept)
SELECT batch_id, 1, 5000, 0, 0 FROM batches;

INSERT INTO tasks (task_id, batch_id, image_id, state, wanted, answered, version, lot, author, standing, priority,
                   priority_reason, added_at, updated_at)
SELECT pg_temp.id('task ' || turn, n), pg_temp.id('batch', turn * 20 + n % 20), capture_id, 'done', 1, 1, 3, 1,
       pg_temp.person(n + turn), pg_temp.id('annotation ' || turn, n), pg_temp.share(n, 8), 'uncertain',
       at + interval '30 minutes', least(now(), at + interval '1 day')
FROM made, generate_series(0, 1) AS turn;
INSERT INTO tasks (task_id, batch_id, image_id, state, wanted, answered, version, lot, sampled, author, standing,
                   priority, priority_reason, added_at, updated_at)
SELECT pg_temp.id('task of ' || batch, n), pg_temp.id('batch', batch), capture_id, state, 1 + (batch = 40)::integer,
       CASE WHEN state IN ('to-label', 'waiting') THEN 0 ELSE 1 + (batch = 40)::integer END, 1, 1, n % 5 = 0,
       CASE WHEN state IN ('to-review', 'sent-back', 'done') THEN pg_temp.person(n) END,
       CASE WHEN state IN ('to-review', 'sent-back', 'done') THEN pg_temp.id('annotation of ' || batch || ' 1', n) END,
       round(pg_temp.share(n, 8)::numeric, 2), 'uncertain', now() - interval '1 day', now() - interval '1 hour'
FROM (SELECT batch, n, capture_id,
             CASE WHEN batch = 40 THEN CASE WHEN n % 20 = 0 THEN 'disputed' ELSE 'done' END
                  WHEN n % 1000 BETWEEN 900 AND 959 THEN 'to-review' WHEN n % 1000 > 990 THEN 'sent-back'
                  ELSE 'to-label' END AS state
      FROM generate_series(40, 59) AS batch JOIN made ON n BETWEEN 1 AND 1000) AS open;

-- Of one image in a hundred somebody said last that the guide does not decide.
INSERT INTO annotations (annotation_id, image_id, task_id, author, origin, verdict, classes, shapes, ambiguity,
                         taxonomy_version, made_at)
SELECT pg_temp.id('annotation ' || turn, n), capture_id, CASE WHEN turn < 2 THEN pg_temp.id('task ' || turn, n) END,
       pg_temp.person(n + turn), 'person', CASE turn WHEN 2 THEN 'ambiguous' ELSE 'labeled' END,
       CASE WHEN class_name = 'good' AND turn < 2 THEN '{good}' ELSE '{}' END::text[],
       CASE turn WHEN 2 THEN '[]' ELSE pg_temp.boxes(n, class_name) END,
       CASE turn WHEN 2 THEN jsonb_build_object('reason', CASE WHEN n % 3000 = 0 THEN 'needs-second-view'
           ELSE 'boundary-unclear' END, 'note', '', 'proposed_class', NULL) END,
       't1', least(now(), at + interval '1 day') - interval '1 minute'
FROM generate_series(0, 2) AS turn CROSS JOIN made WHERE turn < 2 OR n % 100 = 0 ORDER BY turn, n DESC;
INSERT INTO annotations (annotation_id, image_id, task_id, author, origin, verdict, classes, shapes, taxonomy_version, made_at)
SELECT pg_temp.id('annotation of ' || batch || ' ' || place, n), capture_id, pg_temp.id('task of ' || batch, n),
       pg_temp.person(n + 7 * (place - 1)), 'person', 'labeled',
       CASE WHEN class_name = 'good' THEN '{good}' ELSE '{}' END::text[], pg_temp.boxes(n + place * (n % 20 = 0)::integer, class_name),
       't1', now() - interval '2 hours'
FROM tasks t JOIN made ON made.capture_id = t.image_id JOIN generate_series(40, 59) AS batch ON pg_temp.id('batch', batch) = t.batch_id
    CROSS JOIN LATERAL generate_series(1, t.answered) AS place;

INSERT INTO annotation_decisions (annotation_id, image_id, decision, by, decided_at)
SELECT pg_temp.id('annotation ' || turn, n), capture_id, decision, pg_temp.person(n + 20), least(now(), at + interval '1 day')
FROM (VALUES (0, 'approved'), (0, 'superseded'), (1, 'approved'), (1, 'superseded'), (2, 'approved')) AS said(turn, decision)
    CROSS JOIN made WHERE turn = 0 OR (turn, decision) = (1, 'approved') OR n % 100 = 0 ORDER BY turn, decision DESC, n DESC;

INSERT INTO labels (label_id, capture_id, line, station, class_name, is_defect, approved_by, source, taxonomy_version,
                    context, image, approved_at)
SELECT pg_temp.id('label ' || turn, n), capture_id, line, station, class_name, class_name <> 'good',
       pg_temp.person(n + 20), CASE WHEN turn = 0 AND kind = 'route-to-reviewer' THEN 'review' ELSE 'annotation' END, 't1',
       context, image, least(now(), at + (1 + turn) * interval '1 day')
FROM generate_series(0, 1) AS turn CROSS JOIN made ORDER BY turn, n DESC;

-- --- files and releases

INSERT INTO imports (import_id, source, format, archive, options, state, total, checked, done, added, problems,
                     imported_by, requested_at, finished_at)
SELECT pg_temp.id('import of', n), 'source-' || n, 'coco', '{"name": "labels.zip", "sha256": "0", "size_bytes": 1000, "parts": []}',
       '{"mapping": {}, "context": {}, "only_good": false, "unmarked": "good", "taxonomy_version": "t1"}', 'done', 1000, 1000, 1000,
       1000, 0, 'dana', now() - n * interval '1 hour', now() - n * interval '1 hour'
FROM generate_series(1, 500) AS n;
INSERT INTO releases (release, bundle, task, classes, dataset_hash, metrics, pass_below, reject_from, trained_at)
SELECT 'release-' || n, '{}', 'classification', '{good,scratch}', repeat('0', 64), '{"auroc": 0.9}', 0.2, 0.7,
       now() - n * interval '1 day'
FROM generate_series(1, 60) AS n;
INSERT INTO deployments (line, station, mode, release, rolled_back, ordered_by, ordered_at)
VALUES ('', '', 'active', 'release-1', false, 'mo', now());
INSERT INTO evaluation_batches (batch_id, name, axis, value, least_images, least_of_class, created_by, created_at)
SELECT pg_temp.id('evaluation', n), 'Evaluation ' || n, 'camera', 'camera-' || n, 20, '{}', 'dana', now() - n * interval '1 day'
FROM generate_series(1, 60) AS n;
