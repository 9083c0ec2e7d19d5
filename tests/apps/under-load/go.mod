module under-load

go 1.26
