"""A client as large as a cluster: one member, several processes that train together.

Rank 0 is the member: it alone speaks to the server, keeps the state and sends the update. Every call of the user's code
happens at every rank; the parameters come from rank 0. The other ranks hear of a call, and of WrapUp, over a channel
within the site: mutual TLS with the silo's own key, in memory only.

place      which rank this process is
meeting    how the ranks find one another, and know one another
messages   what goes over the channel
points     where a loop may stop, and how all ranks stop at the same step
peer       rank 0's end of one channel
leader     rank 0: the user's client, called at every rank
follower   every other rank
"""
