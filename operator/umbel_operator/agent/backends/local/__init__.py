"""What backends without a cluster share: a client's folder in the agent's state directory.

records     what is written down of a client and of its attempts
directory   the state directory: one folder for each client and job
actions     what may be done there
command     the client's command line and surroundings
restarts    when a client that ended is started again
holding     what is there of one client, and what to do about it: pure
"""
