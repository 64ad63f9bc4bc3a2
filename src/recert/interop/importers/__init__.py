"""One reader per tool. Each cites the tool's source that says what its files hold; none imports the tool."""
