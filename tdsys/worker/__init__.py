"""The only place that knows Celery."""
