-- +goose Up

-- A copy is durable only when a durable manifest names each of its parts: what nothing on tape names, no rebuild brings
-- back. Copies that counted as durable without that wait for their manifest, which the next run writes.
UPDATE copy SET state = 2, verified = 0 WHERE state = 3 AND EXISTS (
  SELECT 1 FROM part q WHERE q.object = copy.object AND NOT EXISTS (
    SELECT 1 FROM copy_part p JOIN tape t ON t.id = p.tape WHERE p.copy = copy.id AND p.number = q.number AND p.state = 2
      AND (t.state = 'foreign' OR EXISTS (SELECT 1 FROM manifest m WHERE m.id = p.manifest AND m.state = 2))));
