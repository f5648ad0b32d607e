"""Batch schedulers, by their command lines.

base      what the agent asks of one: `BatchScheduler`, and its errors
options   what is asked for with a job, as arguments of `sbatch`; what is not on the list is refused
output    what Slurm's commands print, read
standing  what a job's state and reason mean to a person
commands  a command with a time limit and a scrubbed environment
refusals  what the commands say when they do not obey, explained
slurm     `BatchScheduler` over sbatch, squeue, scancel and sacct
"""
