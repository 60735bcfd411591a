"""What the commands do, one module or folder a command, callable without the command line.

All have one shape: a frozen dataclass holds what to do, a function does it, a frozen report holds what came of it::

    report = detect_images(ImageJob(inputs=("photo.jpg",)), progress, controls)

`progress` gets news while the job runs, `controls` can stop or pause it; both may be left out. Jobs print nothing, and
those that are done in a moment have nothing to stop.
"""
