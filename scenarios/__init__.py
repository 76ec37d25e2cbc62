"""Many nodes on one laptop: scenario files, engines, faults, reports, inspection."""
