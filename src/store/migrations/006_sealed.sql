-- Secrets outside of the config, such as headers of a health check. Where `sealed` is there, `value` is masked; where
-- `sealed_run` is there, it holds `processes` and `overrides`, which are masked.
ALTER TABLE properties ADD COLUMN sealed BLOB;
ALTER TABLE releases ADD COLUMN sealed_run BLOB;
