"""Commands on finished data folders: verify, inspect, merge, convert."""
