"""`python -m maie_aiohttp fsck`: disk and catalog compared, thing by thing, and put right where that is safe.

`command`         what was asked for, and how it ends
`run`             the parts, put together for a look or for a repair
`examiner`        what is compared with what
`contradictions`  what no record of this server says
`findings`        how it is told
`mending`         what is done about it
`rebuild`         a new catalog in place of one that is damaged
"""
