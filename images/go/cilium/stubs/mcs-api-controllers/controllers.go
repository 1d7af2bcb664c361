// Package controllers stands in for sigs.k8s.io/mcs-api/controllers, which no
// package registry serves. Cilium's multi-cluster Services code, which we never
// switch on, reads this one constant of it.
package controllers

// DerivedServiceAnnotation is the annotation of the multi-cluster Services API
// (KEP-1645) that names the Service derived from a ServiceImport.
const DerivedServiceAnnotation = "multicluster.kubernetes.io/derived-service"
