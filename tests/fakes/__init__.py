"""Small stand-ins that a test can steer: a clock that stands still, a disk that refuses."""
