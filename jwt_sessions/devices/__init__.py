"""The devices page: server-rendered HTML on which users see where they are signed in, and end it."""
