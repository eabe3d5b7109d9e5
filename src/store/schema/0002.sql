-- By which mapping a record was last written; '' for what was written before this was kept.
ALTER TABLE patient_record ADD COLUMN mapping TEXT NOT NULL DEFAULT '';
ALTER TABLE visit ADD COLUMN mapping TEXT NOT NULL DEFAULT '';
ALTER TABLE lab_report ADD COLUMN mapping TEXT NOT NULL DEFAULT '';

-- All problems of a refused set: a JSON list.
ALTER TABLE mapping_in_force RENAME COLUMN problem TO problems;
UPDATE mapping_in_force SET problems = json_array(problems) WHERE problems IS NOT NULL;

-- What the mapping makes of an unmapped code.
ALTER TABLE unmapped_code ADD COLUMN outcome TEXT NOT NULL DEFAULT '';
