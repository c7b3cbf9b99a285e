"""What jobs leave: logs, results, archives; streams out of folders."""
