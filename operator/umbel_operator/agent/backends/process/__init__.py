"""Clients as plain processes of the agent's own machine and user.

table     the machine's processes: who is alive, and who is it
keeper    starting a client under a small shell that notes its exit status, and ending it
holding   what is there of one client, and what to do about it: pure
backend   what is seen and done
"""
