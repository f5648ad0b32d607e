"""Clients as jobs of a batch scheduler, from a login node, as an ordinary user. The state directory lies where the
compute nodes see it.

request     one job: its script and its options
container   the same in the job's image
holding     what the scheduler has of one client, and what to do about it: pure
hello       whom the first bytes of a TLS connection are for: pure
routes      who may reach whom through the relay: pure
relay       passes bytes between compute nodes without a route out and the jobs' servers
gate        the relay at its port, kept in the state directory
backend     what is seen and done
"""
