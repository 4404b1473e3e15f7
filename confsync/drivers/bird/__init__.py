"""BIRD: the `bgp` section and the driver that carries it to the daemon.

Why: one complete file is generated from typed values, so that a text is either ours to the last
byte or somebody's; BIRD's strings have no escapes, therefore what cannot be quoted is refused
before anything is rendered.

`bgp` values, `fields` and `schema` documents to values, `rules` what must hold between them,
`effective` what a policy comes to, `names` what things are called in BIRD, `render` values to
text (its leaves in `syntax`, its lines in `clauses` and `options`), `capabilities` which BIRD
knows what, `impact` what a difference does to users, `section` the whole for the flow.
"""
