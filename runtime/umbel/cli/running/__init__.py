"""The pieces of `umbel run`: the run's directory, its identities, its processes and who watches over them."""
