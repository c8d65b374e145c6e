-- How many requests a minute an API key may send; nothing: as many as anybody.
ALTER TABLE api_keys ADD COLUMN requests_per_minute BIGINT;
