"""Where uploads and artefacts lie: a folder or a bucket, and the tables beside."""
