"""The engine on a Ray cluster: the connection, the pool of workers, how images are dispatched, and a worker's part."""
