"""LVM: volume groups, logical volumes, their file systems and mounts; the section is ``lvm``.

Only linear volumes are made and grown; thin pools, RAID and caches are seen and left alone.

Why: everything is decided on one reading, in extents and UUIDs, before anything is done, since LVM
takes names and percentages anew with every command. What is not ours is left alone, and a volume
is never removed by the change that takes it out of use.

`shapes` is what documents may say (its leaves in `sizes` and `names`), `flat` documents to values,
puppet-lvm's words included, `storage` the values, `rules` what must hold between them; `report`,
`blocks` and `mounts` are texts of others to what was `found`; `plan` goes from there to what is
wanted, group by group: `volume_plan`, `mount_plan`, `space` for who gets which extents, `draft` for
the order of `step`s; `section` is the whole for the flow.
"""
