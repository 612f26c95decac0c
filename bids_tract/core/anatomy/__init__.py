"""What a T1-weighted image shows: the brain, and how much of each voxel is which tissue."""
