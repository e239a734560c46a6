"""What labels of bags are, and how they are learnt: one class a kind."""
