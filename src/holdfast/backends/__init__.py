"""Where records live: one backend each, opened by URL scheme."""
