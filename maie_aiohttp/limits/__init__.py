"""What keeps the server standing: memory, connections and room, shared out before they are used up."""
