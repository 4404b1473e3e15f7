"""Calico's resources of a site: the `calico` section and the driver that carries it there.

Why: the datastore belongs to the whole site, so that one agent writes it, one object after the
other, each with the version that it was read at; what somebody else changed meanwhile is never
written over. A FelixConfiguration is others' too, and is merged field by field.

`shapes`, `policy_shapes` and `fields` the document, `felix` a FelixConfiguration's fields,
`reading` document to `resources`, `selector` Calico's selectors, `rules` and `rule_rules` what must
hold between fields, `lock_out` whom all that would shut out, `ordering` what is written before
what, `objects` when two bodies are the same, `plan` the way there, `step` one object's change,
`command` calicoctl, `driver` all of it for the flow.
"""
