"""What each command does; `bagwise.cli` parses and prints."""
