"""What models and statements share: compiled SQL, the database that is written to, time-ordered ids."""
