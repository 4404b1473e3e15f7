"""Felix, Calico's daemon on a node: the `felix` section and the driver that carries it there.

Why: Felix ignores a name that it does not know and takes the default for a value that it cannot
read, both without a word. So each version's parameters are known here, as data, and what Felix
would pass over is refused before it is written.

`tables` what each version knows, `values` one value as Felix reads it, `shapes` the document,
`rules` what must hold between values, `render` the file, `found` what stands on a host, `plan` the
way from there, `unit` the service, `health` whether it is well, `driver` all of it for the flow.
"""
