"""The FederatedJob manifest, part by part. Everybody else imports `umbel.job`, which has the whole."""
