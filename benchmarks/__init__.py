"""Speed, as ratios: each figure stands beside raw apsw that runs the very same statements, in the same run."""
