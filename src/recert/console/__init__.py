"""The console: pages for people who decide about tuned models, behind a sign-in. `app.py` is to be read first."""
