"""Real Slurm sites as plain processes of this machine, by any user, without systemd or cgroups.

config      the text of slurm.conf and its like
accounting  what a site remembers of its jobs, in a database
processes   daemons with a log, which die with the thread that started them
site        a site as its users hold it
"""
