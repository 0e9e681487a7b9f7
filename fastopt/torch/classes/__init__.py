"""The classes, a file for each rule of torch's, and one for those that it has not."""
