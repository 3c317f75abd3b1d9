"""Every call that can fail, failed; every step at which a process can die, died at. `python -m tests.faults` runs all.

`injector`    what is counted, made to fail or killed at: calls to the file system, statements and commits
`ledger`      what the clients know, kept where a kill does not reach it
`doors`       everything clients and operators do, once as it should go and on after it went wrong
`place`       a server on a folder, started and stopped for each point
`invariants`  what must hold then
`sweep`       the points, one after the other
"""
