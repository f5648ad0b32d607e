"""Clients as jobs of a batch scheduler, from a login node, as an ordinary user. The state directory lies where the
compute nodes see it.

request     one job: its script and its options
container   the same in the job's image
holding     what the scheduler has of one client, and what to do about it: pure
backend     what is seen and done
"""
