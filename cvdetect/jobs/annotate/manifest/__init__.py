"""What is done and what is not: SQLite on a disk, or a log in numbered parts in an object store."""
