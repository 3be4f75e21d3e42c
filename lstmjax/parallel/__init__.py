"""Devices, meshes, and the mapping of population members or windows of a batch onto them.

There are two axes. ``member`` spreads the members of a population, which do not communicate. ``batch`` splits the
windows of every batch, and gradients are summed over it. A single run is a population of one with a split batch.

On CPU, XLA does not spread the small products of a recurrence over cores. So every core gets its own XLA device
(`configure_devices`), and on each device members are trained one after the other. On an accelerator the opposite is
fast: one device, and all members in one batched product.

Several processes, on many hosts, have one mesh of the devices of all of them (`connect`): each process holds the
weights, and computes its part of every batch. See `lstmjax.parallel.connection` and `processes`.
"""

from lstmjax.parallel.connection import connect as connect
from lstmjax.parallel.connection import ending_together as ending_together
from lstmjax.parallel.devices import available_bytes as available_bytes
from lstmjax.parallel.devices import configure_devices as configure_devices
from lstmjax.parallel.devices import cores as cores
from lstmjax.parallel.devices import keep_freed_memory as keep_freed_memory
from lstmjax.parallel.devices import schedule_as_batch as schedule_as_batch
from lstmjax.parallel.mapping import MappingName as MappingName
from lstmjax.parallel.mapping import default_mapping as default_mapping
from lstmjax.parallel.mapping import over_batch as over_batch
from lstmjax.parallel.mapping import over_members as over_members
from lstmjax.parallel.mapping import padded_members as padded_members
from lstmjax.parallel.mapping import sum_over_batch as sum_over_batch
from lstmjax.parallel.mesh import arranged as arranged
from lstmjax.parallel.mesh import device_count as device_count
from lstmjax.parallel.mesh import make_mesh as make_mesh
from lstmjax.parallel.mesh import resolve_batch_shards as resolve_batch_shards
from lstmjax.parallel.placement import fetch as fetch
from lstmjax.parallel.placement import place_made as place_made
from lstmjax.parallel.placement import place_members as place_members
from lstmjax.parallel.placement import place_rows as place_rows
from lstmjax.parallel.placement import place_shared as place_shared
from lstmjax.parallel.placement import whole as whole
from lstmjax.parallel.processes import agree as agree
from lstmjax.parallel.processes import from_first as from_first
from lstmjax.parallel.processes import is_first_process as is_first_process
from lstmjax.parallel.processes import process_count as process_count
from lstmjax.parallel.processes import require_equal as require_equal
from lstmjax.parallel.processes import text_from_first as text_from_first
from lstmjax.parallel.processes import together as together
