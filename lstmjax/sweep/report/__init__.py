"""What a sweep shows and leaves for people."""
