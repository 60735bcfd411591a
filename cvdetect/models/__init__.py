"""Models: which there are (`registry`), their files (`store`), the choice of one (`resolve`), loading it (`load`)."""
