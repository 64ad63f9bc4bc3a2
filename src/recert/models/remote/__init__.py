"""Models elsewhere: endpoints, hosted jobs, a hub, and the patience that they take."""
