"""What a silo's administrator is asked, and what he answered. The hub can write neither."""
