"""Working days, free slots, and how they are said."""
