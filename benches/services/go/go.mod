module services_bench

go 1.19
