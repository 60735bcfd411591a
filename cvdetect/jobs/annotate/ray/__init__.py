"""The engine on a Ray cluster: reaching it, handing out chunks of images, and what a worker does with one."""
