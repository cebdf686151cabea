"""What the doors share of HTTP: errors, cookies, error reports, serializers of answers."""
