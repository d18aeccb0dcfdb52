"""The only place that knows Celery."""

import gc

# What is imported stays: to look for garbage in it is an eighth of a start. `app` allows it again.
gc.disable()
